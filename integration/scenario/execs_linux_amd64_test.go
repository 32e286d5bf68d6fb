package scenario

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"isula.org/isulad-tools/integration/fault/supervisor"
	"isula.org/isulad-tools/integration/sandbox"
)

// A command executes one program, isula, and with --engine runc none; one more
// only when the rules of udev changed.
func TestCommandsExecuteNothingElse(t *testing.T) {
	install(t)
	udevadm := sandbox.Udevadm(t, "true")
	const disk = "/dev/some-disk"
	check(t, sandbox.Disk(disk))
	defer os.Remove(disk)
	host := scratch(t)
	for _, k := range []kind{{}, {real: true}} {
		t.Run(strings.ReplaceAll(k.name(), " ", "-"), func(t *testing.T) {
			b := newBox(t, k, id)
			b.record(recorded{})
			check(t, b.start())
			defer b.stop()
			for _, c := range []struct {
				args []string
				exit int
				udev bool
			}{
				{[]string{"list-device", NAME}, 0, false},
				{[]string{"add-device", NAME, "/dev/fuse:/dev/a", "/dev/zero:/dev/b:r"}, 0, false},
				{[]string{"add-device", NAME, "/dev/fuse:/dev/a"}, 1, false},
				{[]string{"add-device", NAME, disk + ":/dev/disk:r"}, 0, true},
				{[]string{"update-device", "--device-read-bps", disk + ":1m", NAME}, 0, false},
				{[]string{"list-device", "--pretty", NAME}, 0, false},
				{[]string{"remove-device", NAME, "/dev/fuse:/dev/a"}, 0, false},
				{[]string{"remove-device", NAME, disk + ":/dev/disk"}, 0, true},
				{[]string{"remove-device", NAME, disk + ":/dev/disk"}, 1, false},
				{[]string{"add-path", NAME, host + ":/data:ro"}, 0, false},
				{[]string{"add-path", NAME, host + ":/data:ro"}, 1, false},
				{[]string{"list-path", NAME}, 0, false},
				{[]string{"remove-path", NAME, host + ":/data"}, 0, false},
			} {
				res := b.traced(c.args)
				if res.ExitCode != c.exit {
					t.Errorf("%q: %v: %s", c.args, res, res.Stderr)
				}
				var want []string
				if !k.real {
					self, err := os.Executable()
					check(t, err)
					want = append(want, self)
				}
				if c.udev {
					want = append(want, udevadm)
				}
				if d := cmp.Diff(want, res.Execs, cmpopts.EquateEmpty()); d != "" {
					t.Errorf("%q executes (-want +got):\n%s", c.args, d)
				}
			}
		})
	}
}

// traced runs a command under the supervisor, which does not interfere.
func (b *box) traced(args []string) *supervisor.Result {
	b.t.Helper()
	cmd, err := b.command(args...)
	check(b.t, err)
	res, err := supervisor.Command{Path: cmd.Path, Args: cmd.Args, Env: cmd.Env, Dir: cmd.Dir, Timeout: time.Minute}.Run(supervisor.Fault{})
	check(b.t, err)
	return res
}
