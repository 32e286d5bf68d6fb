package units

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"isula.org/isulad-tools/devices"
)

// hangs is a program in place of the host's that does not end.
func hangs(t testing.TB, name string) (calls func() string) {
	t.Helper()
	return standIn(t, name, "exec sleep 1000")
}

// A start may wait for a program as long as the hook's budget lasts, and nobody
// waits for longer.
func TestAProgramThatHangsHoldsNothingUp(t *testing.T) {
	udevadm, vsctl, isula, systemd := hangs(t, "udevadm"), hangs(t, "ovs-vsctl"), hangs(t, "isula"), silentSystemd(t)
	p := plug(t)
	disk := `{"deviceToAdd":[` + asJSON(t, p.record("/dev/"+p.name, "/dev/x", "rw")) + `]}`
	port := `{"networkInterfaces":[{"Ip":"10.9.8.7/24","Type":"veth","Bridge":"nosuchswitch","HostNicName":"hung0","CtrNicName":"eth0","Mtu":1500}]}`
	prestart := func(t *testing.T, b *bundle) outcome { return b.hook(t, "prestart") }
	poststop := func(t *testing.T, b *bundle) outcome { return b.hook(t, "poststop") }
	for _, c := range []struct {
		name     string
		hung     func() string // what was asked of it
		recorded string
		do       func(*testing.T, *bundle) outcome
		code     int
		says     string
	}{
		{"udevadm, at a start", udevadm, disk, prestart, 0, ""},
		{"udevadm, in a command", udevadm, "{}", func(t *testing.T, b *bundle) outcome { return b.tool(t, "add-device", b.id, "/dev/"+p.name+":/dev/x") }, 0, "udevd was not told"},
		{"ovs-vsctl, at a start", vsctl, port, prestart, 1, "ovs-vsctl"},
		{"ovs-vsctl, after a container", vsctl, port, poststop, 0, ""},
		{"isula, in an event of udevd's", isula, "{}", func(t *testing.T, _ *bundle) outcome {
			return start(t, "", "udev-event", "add", "c0ffee", "sda1", "/dev/x", "sda").wait()
		}, 0, ""},
		{"systemd", systemd, "{}", func(t *testing.T, _ *bundle) outcome {
			begun := time.Now()
			err := devices.AllowInUnit(t.Context(), "web.scope", []devices.Device{{Type: "c", Major: 1, Minor: 3, CgroupPermissions: "rw"}})
			if err == nil {
				t.Error("one who does not answer has agreed")
			}
			return outcome{took: time.Since(begun)}
		}, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := inBundle(t, hold(t, nil), c.recorded)
			got := c.do(t, b)
			if got.code != c.code || !strings.Contains(got.said, c.says) || got.took > 25*time.Second {
				t.Errorf("exit code %d, %q after %v; want %d, %q within the hook's budget", got.code, got.said, got.took, c.code, c.says)
			}
			if c.hung() == "" {
				t.Error("it was not asked")
			}
			b.hook(t, "poststop")
		})
	}
}

// silentSystemd listens where systemd does, and does not answer.
func silentSystemd(t testing.TB) (calls func() string) {
	t.Helper()
	const socket = "/run/systemd/private"
	must(t, os.MkdirAll(filepath.Dir(socket), 0o755))
	must(t, os.RemoveAll(socket))
	listener, err := net.Listen("unix", socket)
	must(t, err)
	t.Cleanup(func() { listener.Close() })
	return func() string {
		conn, err := listener.Accept() // one who has gone since
		if err != nil {
			return ""
		}
		conn.Close()
		return socket
	}
}
