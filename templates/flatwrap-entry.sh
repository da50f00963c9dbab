#!/bin/sh
# @source@ of @image@, in its own view of the file system (made by flixwrap).
# FLATWRAP_ROOT=FOLDER runs it from a tree that is not merged.
# shellcheck disable=SC1003,SC1091,SC2016,SC2034
flatwrap_program=@program@
flatwrap_home=${FLATWRAP_ROOT-}@home@
. "$flatwrap_home/enter"
