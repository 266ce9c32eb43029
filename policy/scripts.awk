# Turns the Lua scripts into C strings: head.lua and common.lua go before each other script, X_usual.lua
# between them before X. Comment lines become empty ones, so that line numbers in Redis' error texts stay
# right within the joined script.
function emit(line) {
    if (line ~ /^[ \t]*--/)
        line = ""
    gsub(/\\/, "&&", line)
    gsub(/"/, "\\\"", line)
    return "    \"" line "\\n\"\n"
}
FILENAME ~ /head\.lua$/ { head = head emit($0); next }
FILENAME ~ /common\.lua$/ { common = common emit($0); next }
FILENAME ~ /_usual\.lua$/ {
    name = FILENAME
    sub(/.*\//, "", name)
    sub(/_usual\.lua$/, "", name)
    usual[name] = usual[name] emit($0)
    next
}
FNR == 1 {
    if (open)
        print "    ;"
    name = FILENAME
    sub(/.*\//, "", name)
    sub(/\.lua$/, "", name)
    if (!open)
        print "#include \"policy/scripts.h\"\n"
    printf "const char script_%s[] =\n    \"#!lua\\n\"\n%s%s%s", name, head, usual[name], common
    open = 1
}
{ printf "%s", emit($0) }
END { print "    ;" }
