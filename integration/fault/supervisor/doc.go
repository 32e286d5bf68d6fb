// Package supervisor runs a program under ptrace and interferes with it at one
// chosen system call.
//
// It keeps one counter over all threads of the program. Every call that changes
// something outside of the program (a mount, a node, a rename, a write to a
// control file, a netlink request …), and every call on whose success such
// changes depend (fsync, flock, setns …), is a Point and gets the next number.
// At the number asked for the program is killed just before or just after the
// call, or the call fails with a given errno without being executed.
//
// What the Go runtime does for itself (futex, mmap, eventfd, pipes, signals) is
// no point: the numbers of one run mean the same calls in the next as far as
// the program itself is deterministic. Points are serialised over the threads:
// while one executes, another thread that wants to begin one waits, so "killed
// before N" means that exactly N-1 have happened.
//
// The package knows nothing about the program it runs. It is written for
// linux/amd64; elsewhere it is empty.
package supervisor
