#!/bin/sh
# say.sh WHAT COMMAND [ARGUMENT...]: runs a command that is silent for minutes, with its exit status.
# Says what is done at once, and every 15 seconds for how long.
what=$1
shift
echo "$what"
began=$(date +%s)
# The sleep holds none of our output open: it may outlive us by 15 seconds.
while sleep "${SAY_EVERY:-15}" >/dev/null 2>&1 </dev/null; do echo "$what: $(($(date +%s) - began)) s"; done &
ticker=$!
"$@"
status=$?
kill "$ticker"
exit "$status"
