# sendgovctl
