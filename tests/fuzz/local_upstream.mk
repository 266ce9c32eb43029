# client machine and reply reader
