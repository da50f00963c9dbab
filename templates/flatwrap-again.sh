# shellcheck shell=sh disable=SC1091,SC2034
# What a starter runs when the kernel refuses it a namespace, with its own arguments: the other ways are tried.
flatwrap_tried=1
flatwrap_home=$1
flatwrap_program=$6
shift 6
. "$flatwrap_home/enter"
