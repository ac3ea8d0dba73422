#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The workload whose coverage `make report` shows: system calls that ordinary programs make. Every program in it is a
# task of its own, so each has its own buffer. Ends at the first command that fails.

set -eu
work=$(mktemp -d)
cd "$work"

# wait_for COMMAND...: repeats a command until it succeeds. Work in the background may take a while on a busy host.
wait_for() {
	for _ in $(seq 300); do
		"$@" && return
		sleep 0.2
	done
	echo "workload.sh: this went on failing for a minute: $*" >&2
	return 1
}

# Files: made, written, read, linked, renamed, truncated, removed.
mkdir -p a/b/c
dd if=/dev/urandom of=a/random bs=4k count=4 2>dd.log
cp a/random a/b/copy
cmp a/random a/b/copy
ln a/random a/hard
ln -s random a/soft
mv a/hard a/b/c/moved
truncate -s 100 a/b/copy
fallocate -l 8192 a/b/c/allocated
chmod 600 a/b/copy
chown 1:1 a/b/copy
touch -d '2020-01-01 00:00' a/b/copy
stat a/b/copy >status
mkfifo a/fifo
cat a/fifo >from-fifo &
echo through the fifo >a/fifo
wait $!
tar -c a >archive.tar
tar -t -f archive.tar >listing
sync
df . >space

# Directories, and the files of procfs and sysfs.
find . >tree
find /proc/self /sys/kernel -maxdepth 2 >/dev/null 2>&1 || :
ls -lR /dev >devices
cat /proc/meminfo /proc/interrupts /proc/mounts /proc/self/maps >numbers
mkdir mounted
mount -t tmpfs -o size=1m none mounted
echo kept >mounted/file
umount mounted
rm -r a

# Pipes, children, signals.
seq 1 2000 | sort -r | uniq | wc -l >count
for _ in 1 2 3 4; do
	(exit 3) || :
done
sleep 100 &
kill $!
wait $! || :
taskset 1 true
ps >tasks
timeout -s KILL 0.2 sleep 100 || :

# Sockets: TCP and UDP over the loopback device, a datagram socket of the file system, packets.
echo page >index.html
httpd -f -p 127.0.0.1:8080 -h "$work" &
server=$!
wait_for wget -q -O fetched 127.0.0.1:8080/index.html 2>wget.log
cmp index.html fetched
kill $server
wait $server || :
syslogd -n -O log &
server=$!
wait_for test -S /dev/log
logger hello
# Packets that it has not read when it is killed are lost.
wait_for grep -q -s hello log
kill $server
wait $server || :
ping -c 1 127.0.0.1 >ping.log
netstat -an >sockets 2>/dev/null
ip addr >addresses

cd /
rm -r "$work"
