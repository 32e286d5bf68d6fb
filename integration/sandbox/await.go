package sandbox

import "time"

// patience is how long a test waits for what the kernel or a program does in the
// background: that takes milliseconds, or seconds where others keep the machine
// busy.
const patience = time.Minute

// Await waits until something is done, and tells whether it is.
func Await(done func() bool) bool {
	for end := time.Now().Add(patience); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}
