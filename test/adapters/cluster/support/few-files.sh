#!/bin/sh
ulimit -n "$FILES" && exec "$NODE" "$@"
