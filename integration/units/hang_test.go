package units

import (
	"net"
	"strings"
	"testing"
	"time"

	"isula.org/isulad-tools/devices"
)

// hangs is a program in place of the host's that does not end.
func hangs(t testing.TB, name string) (calls func() string) {
	t.Helper()
	return fakeProgram(t, name, "exec sleep 1000")
}

// A start may wait for a program as long as the hook's budget lasts, and nobody
// waits for longer.
func TestAProgramThatHangsHoldsNothingUp(t *testing.T) {
	udevadm, vsctl, isula := hangs(t, "udevadm"), hangs(t, "ovs-vsctl"), hangs(t, "isula")
	p := plug(t)
	disk := `{"deviceToAdd":[` + asJSON(t, p.record("/dev/"+p.name, "/dev/x", "rw")) + `]}`
	port := `{"networkInterfaces":[{"Ip":"10.9.8.7/24","Type":"veth","Bridge":"nosuchswitch","HostNicName":"hung0","CtrNicName":"eth0","Mtu":1500}]}`
	prestart := func(b *bundle) *program { return b.startHook(t, "prestart") }
	var checks, cleanUps []func() // all of them at the same time
	for _, c := range []struct {
		name     string
		hung     func() string // what was asked of it
		recorded string
		do       func(*bundle) *program
		code     int
		says     string
	}{
		{"udevadm, at a start", udevadm, disk, prestart, 0, ""},
		{"udevadm, in a command", udevadm, "{}", func(b *bundle) *program { return b.startTool(t, "add-device", b.id, "/dev/"+p.name+":/dev/x") }, 0, "udevd was not told"},
		{"ovs-vsctl, at a start", vsctl, port, prestart, 1, "ovs-vsctl"},
		{"ovs-vsctl, after a container", vsctl, port, func(b *bundle) *program { return b.startHook(t, "poststop") }, 0, ""},
		{"isula, in an event of udevd's", isula, "{}", func(*bundle) *program { return start(t, "", "udev-event", "add", "c0ffee", "sda1", "/dev/x", "sda") }, 0, ""},
	} {
		b := inBundle(t, hold(t, nil), c.recorded)
		waits := c.do(b)
		checks = append(checks, func() {
			t.Run(c.name, func(t *testing.T) {
				waits.t = t
				got := waits.wait()
				if got.code != c.code || !strings.Contains(got.said, c.says) || got.took > 25*time.Second {
					t.Errorf("exit code %d, %q after %v; want %d, %q within the hook's budget", got.code, got.said, got.took, c.code, c.says)
				}
				if c.hung() == "" {
					t.Error("it was not asked")
				}
			})
			poststop := b.startHook(t, "poststop")
			cleanUps = append(cleanUps, func() { poststop.wait() })
		})
	}
	for _, check := range checks {
		check()
	}
	for _, cleanUp := range cleanUps {
		cleanUp()
	}
}

func TestASystemdThatHangsHoldsNothingUp(t *testing.T) {
	const socket = "/run/systemd/private"
	ofSystemd(t)
	listener, err := net.Listen("unix", socket)
	must(t, err)
	defer listener.Close()
	begun := time.Now()
	err = devices.AllowInUnit(t.Context(), "web.scope", []devices.Device{{Type: "c", Major: 1, Minor: 3, CgroupPermissions: "rw"}})
	if took := time.Since(begun); err == nil || took < time.Second || took > 15*time.Second {
		t.Errorf("%v after %v; want an error, soon", err, took)
	}
}
