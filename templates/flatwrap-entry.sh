#!/bin/sh
# @source@ of @image@, in its own view of the file system (made by flixwrap).
# FLATWRAP_ROOT=FOLDER runs it from a tree that is not merged.
# shellcheck disable=SC1003,SC1091,SC2016,SC2034
flatwrap_program=@program@
flatwrap_home=${FLATWRAP_ROOT-}@home@
[ -r "$flatwrap_home/enter" ] || {
    printf 'flatwrap: %s: the extension is not merged: there is no %s; FLATWRAP_ROOT=FOLDER runs it from a tree\n' \
        "$flatwrap_program" "$flatwrap_home/enter" >&2
    exit 126
}
. "$flatwrap_home/enter"
