// Package fault holds the tests that interrupt the hooks at every system call
// that changes something: by a kill just before and just after the call (kill
// loop), by an error that the call returns without being executed (fault loop),
// by a full disk, and by an image whose symbolic links lead out of it.
//
// The tests run the real hook binary, under integration/fault/supervisor, in
// integration/sandbox's world. The container is a holder: a process with the
// namespaces of a container, its root file system bound but not pivoted to, as
// runc has it when it runs prestart. It starts in milliseconds, which is what
// makes every point of every run affordable; one test repeats a few points with
// real runc.
package fault
