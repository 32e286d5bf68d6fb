// Package isula stands in for iSulad, as far as a command can tell: its client,
// which answers `isula inspect` as the real one of iSulad 2.1 does, and the lock
// of a container, which the daemon holds while it starts or stops the container
// and its hooks run. An inspect waits for that lock, as the real one does: a hook
// that asks, or a command that asks while it holds what a hook waits for, hangs.
//
// The client is the test binary itself, by the name it is called by: a test
// binary that uses this package calls [Main] first.
package isula
