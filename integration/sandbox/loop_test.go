package sandbox_test

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"isula.org/isulad-tools/integration/sandbox"
)

// Other runs of tests take and leave loop devices on this machine, too.
func TestLoopDevicesComeAndGoAtOnce(t *testing.T) {
	var taken sync.Map
	for worker := range 16 {
		t.Run(fmt.Sprint(worker), func(t *testing.T) {
			t.Parallel()
			for round := range 10 {
				t.Run(fmt.Sprint(round), func(t *testing.T) {
					minor := sandbox.Loop(t, 1<<20)
					if other, ok := taken.LoadOrStore(minor, t.Name()); ok {
						t.Errorf("loop%d is that of %s", minor, other)
					}
					if _, err := os.Stat(fmt.Sprintf("/sys/dev/block/7:%d/loop/backing_file", minor)); err != nil {
						t.Error(err)
					}
					taken.Delete(minor)
				})
			}
		})
	}
}
