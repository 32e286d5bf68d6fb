package scenario

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"

	"isula.org/isulad-tools/integration/sandbox"
)

// hide is what a container does to keep what it was given below /h: it renames what
// is above, and puts a link to a name that is too long there.
const hide = "mv /h /z; l=n; while [ ${#l} -lt 300 ]; do l=n$l; done; ln -s $l /h"

// hostile gives a running container one of each, which it hides as far as it can.
// Taken away, or when it stops, nothing of it is left, and what the host lent is as
// it was.
func (r *run) hostile() string {
	r.cabling()
	lentBefore := r.lentLink()
	r.record(recorded{})
	for _, stopped := range []bool{false, true} {
		check(r.t, r.start())
		r.works("rm -f /h /z/a/fuse; [ ! -d /z ] || { [ ! -d /z/a/data ] || rmdir /z/a/data; rmdir /z/a /z; }; mkdir -p /h/a")
		var takes [][]string
		give := func(take []string, add ...string) {
			r.t.Helper()
			if _, err := r.quietly(add); err != nil {
				r.t.Error(err)
			}
			takes = append(takes, take)
		}
		if !r.noNodes() {
			give([]string{"remove-device", NAME, "/dev/fuse:/h/a/fuse"}, "add-device", NAME, "/dev/fuse:/h/a/fuse:rw")
			r.works("exec 3<>/h/a/fuse")
		}
		if !r.noWay() {
			give([]string{"remove-path", NAME, r.data + ":/h/a/data"}, "add-path", NAME, r.data+":/h/a/data")
			r.works("test -e /h/a/data/f")
		}
		give([]string{"remove-nic", "--name", lent + ":eth9", NAME}, "add-nic", "--type", "eth", "--name", lent+":eth9", "--ip", "10.79.0.9/24", "--mtu", "1400", NAME)
		give([]string{"remove-nic", "--name", links + "h8:eth8", NAME}, "add-nic", "--type", "veth", "--bridge", bridge, "--name", links+"h8:eth8", "--ip", "10.77.0.8/24", NAME)
		r.works(hide)
		tricks := []string{"set eth9 down", "set eth9 name lan9", "add eth9 type veth peer name trap", "set eth8 down", "set eth8 name lan8"}
		if !stopped { // a namespace that ends takes what is in it along
			other := fmt.Sprint(r.elsewhere())
			tricks = append(tricks, "set lan9 netns "+other, "set lan8 netns "+other)
		}
		for _, args := range tricks {
			argv := append([]string{fmt.Sprintf("--net=/proc/%d/ns/net", r.pid()), "ip", "link"}, strings.Fields(args)...)
			if out, err := exec.Command("nsenter", argv...).CombinedOutput(); err != nil {
				r.t.Errorf("ip link %s: %v: %s", args, err, out)
			}
		}
		if !stopped {
			for _, take := range takes {
				if _, err := r.quietly(take); err != nil {
					r.t.Error(err)
				}
			}
			r.works("test ! -e /z/a/data/f && { test ! -c /z/a/fuse || ! ( exec 3<>/z/a/fuse ) 2>/dev/null; }")
			for _, rule := range r.permitted() {
				if strings.Contains(rule, "10:229") {
					r.t.Errorf("it may still use %s", rule)
				}
			}
			r.holds(recorded{})
		}
		r.stop()
		r.record(recorded{})
		if now := r.lentLink(); now != lentBefore {
			r.t.Errorf("stopped %v: the lent link was %s and is %s", stopped, lentBefore, now)
		}
		if _, err := netlink.LinkByName(links + "h8"); err == nil {
			r.t.Errorf("stopped %v: the veth is left", stopped)
		}
	}
	if r.noWay() {
		return refused
	}
	return yes
}

// elsewhere is a process of the container that has gone to another network namespace
// than its init is in.
func (r *run) elsewhere() (pid int) {
	r.t.Helper()
	r.works("unshare -n sleep 300 </dev/null >/dev/null 2>&1 &")
	space := func(pid int, kind string) string {
		ns, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind)) // it may have ended
		return ns
	}
	init := r.pid()
	if !sandbox.Await(func() bool {
		all, err := os.ReadDir("/proc")
		check(r.t, err)
		for _, e := range all {
			if pid, _ = strconv.Atoi(e.Name()); pid > 0 && space(pid, "pid") == space(init, "pid") && space(pid, "net") != space(init, "net") {
				return true
			}
		}
		return false
	}) {
		r.t.Fatal("no process is in another network namespace")
	}
	return pid
}

// lentLink is the link that the host lends, with what it has.
func (r *run) lentLink() string {
	l, err := netlink.LinkByName(lent)
	if err != nil {
		return err.Error()
	}
	a := l.Attrs()
	return fmt.Sprintf("mtu %d qlen %d mac %s alias %q up %v", a.MTU, a.TxQLen, a.HardwareAddr, a.Alias, a.Flags&1 != 0)
}
