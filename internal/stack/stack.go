// Package stack makes room for the calls of a goroutine before it makes them: a stack that
// grows below open calls is copied, each time twice as large, and the frame of every one of
// them is looked up for that.
package stack

// size is what the deepest calls of a command take.
const size = 20 << 10

// Reserve is for a goroutine that has no calls open.
func Reserve() { reserve(0) }

// reserve has a frame of all that is to be reserved. It uses none of it for n = 0.
//
//go:noinline
func reserve(n int) byte {
	if n == 0 {
		return 0
	}
	var room [size]byte
	for i := range n {
		room[i] = byte(i)
	}
	return room[n]
}
