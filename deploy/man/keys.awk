# gatt2mqtt.yaml.5.in with the keys in it: `awk -f keys.awk KEYS gatt2mqtt.yaml.5.in`, where KEYS is what
# `gatt2mqtt check --keys` prints: path, type, default and help, with tabs between.
BEGIN { FS = "\t" }

# text as mdoc: a backslash, and words that would be macros at the start of a line
function text(s) {
    gsub(/\\/, "\\e", s)
    if (s ~ /^[.']/)
        s = "\\&" s
    return s
}

FNR == NR {
    if ($2 == "not supported yet")
        next
    keys = keys ".It Ic " $1 "\n" text($2)
    if ($3 != "")
        keys = keys " (default: " text($3) ")"
    keys = keys ($2 == "" ? "" : " \\(em\n") text($4) ".\n"
    next
}
$0 == "@KEYS@" { printf "%s", keys; next }
{ print }
