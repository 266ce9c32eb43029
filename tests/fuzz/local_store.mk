# store: RESP handling
