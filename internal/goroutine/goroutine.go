// Package goroutine knows what Go's runtime costs a goroutine.
package goroutine

// stackSize is what the deepest calls of a command take.
const stackSize = 20 << 10

// ReserveStack makes room for the calls of a goroutine that has none open: a stack
// that grows below open calls is copied, each time twice as large, and the frame of
// every one of them is looked up for that.
func ReserveStack() { reserve(0) }

// reserve has a frame of all that is to be reserved. It uses none of it for n = 0.
//
//go:noinline
func reserve(n int) byte {
	if n == 0 {
		return 0
	}
	var room [stackSize]byte
	for i := range n {
		room[i] = byte(i)
	}
	return room[n]
}
