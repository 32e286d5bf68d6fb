// Package bench measures what the hook costs: a start against an empty Go
// program and against one that only decodes the same input, many devices and
// many binds against the bare system calls that they need. One run prints one
// table, with the goals beside the figures:
//
//	go test ./integration/bench -run '^$' -bench .
//
// Everything that is compared runs in the same minute, alternating, and is
// compared round by round, so that a busy machine slows down both sides.
// Nothing fails for being slow: goals are judged by people.
//
// A new row is an entry of groups, and a file that describes it: a kind with
// perRecord or fewRecords for what a container may have many of, a group of
// subjects for what it has once, in a setting that all containers of a group
// have.
package bench
