# what an operator installs
