package units

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/mounts"
	"isula.org/isulad-tools/network"
	"isula.org/isulad-tools/resource"
)

// A container that v0.9 started, or that runs on after its ledger was lost, is granted
// things that nobody has noted. What can be found out is taken away, and the rest is
// said.

func TestAPermissionThatNobodyNotedGoes(t *testing.T) {
	for _, c := range hostile {
		t.Run(c.name, func(t *testing.T) {
			b := newDeviceFixture(t, map[string]any{})
			d := fuse(t, "/dev/a/thing")
			b.plan(func(e *resource.Edit[devices.Device]) { e.Add(d) })
			c.do(t, b.root+"/dev")
			change := b.plan(func(e *resource.Edit[devices.Device]) { e.Remove(d) })
			if err := change.Tasks[0].Err; err != nil || b.records() != "" {
				t.Errorf("%v, recorded is %q", err, b.records())
			}
			if rules := b.allowed(t); strings.Contains(rules, "10:229") {
				t.Errorf("the container may use %q", rules)
			}
		})
	}
}

func TestAPathThatNobodyNotedGoes(t *testing.T) {
	for _, c := range hiding {
		t.Run(c.name, func(t *testing.T) {
			ways(t, func(image string) { must(t, os.MkdirAll(image+"/a/x", 0o755)) }, func(t *testing.T, h *fakeContainer, target *resource.Target) {
				dir, host := t.TempDir(), hostDir(t)
				write(t, host+"/sub/file", "secret")
				before := h.mountsOf(t)
				b, inner := mounts.Bind{Host: host, Container: "/a/x", Options: "rw"}, bindOf(host+"/sub", "/mnt/inner")
				changePaths(t, dir, target, func(e *resource.Edit[mounts.Bind]) { e.Add(b); e.Add(inner) })
				within(t, target, func() error { return c.do(h) })
				task := changePaths(t, dir, target, func(e *resource.Edit[mounts.Bind]) { e.Remove(b) })
				if task.Err != nil || task.Warning != nil {
					t.Errorf("%v, warning %v", task.Err, task.Warning)
				}
				must(t, mounts.Kind.Verify(t.Context(), target, inner))
				changePaths(t, dir, target, func(e *resource.Edit[mounts.Bind]) { e.Remove(inner) })
				if after := h.mountsOf(t); after != before {
					t.Errorf("the container had the mounts\n%s\nand has\n%s", before, after)
				}
			})
		})
	}
}

func TestALinkThatNobodyNotedComesBackOrIsSaid(t *testing.T) {
	rename := func(t *testing.T, h *fakeContainer) {
		h.ip(t, "link", "set", "eth5", "down")
		h.ip(t, "link", "set", "eth5", "name", "lan0")
	}
	for _, c := range []struct {
		name string
		do   func(t *testing.T, h *fakeContainer)
		back bool
	}{
		{"untouched", func(*testing.T, *fakeContainer) {}, true},
		{"renamed", rename, false},
		{"renamed, with the alias of an older version", func(t *testing.T, h *fakeContainer) {
			rename(t, h)
			h.ip(t, "link", "set", "lan0", "alias", "isulad-tools phy0")
		}, true},
		{"its name is that of a pair of the container's own", func(t *testing.T, h *fakeContainer) {
			rename(t, h)
			h.ip(t, "link", "add", "eth5", "type", "veth", "peer", "name", "trap")
		}, false},
		{"its name is that of a link that the container made on top of it", func(t *testing.T, h *fakeContainer) {
			rename(t, h)
			h.ip(t, "link", "add", "link", "lan0", "name", "eth5", "type", "macvlan")
		}, false},
		{"its name is that of a pair into another namespace of the container", func(t *testing.T, h *fakeContainer) {
			rename(t, h)
			h.ip(t, "link", "add", "eth5", "type", "veth", "peer", "name", "trap", "netns", fmt.Sprint(h.service(t)))
		}, false},
	} {
		for _, stopped := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, stopped %v", c.name, stopped), func(t *testing.T) {
				physical(t, "phy0")
				ip(t, "link", "property", "add", "dev", "phy0", "altname", "rack7port3")
				const there = "phy0 veth up=false mtu=1500 qlen=1000"
				h := hold(t, nil)
				target := h.target(t, hostOwner)
				dir, n := t.TempDir(), eth("phy0", "eth5", "10.9.0.2/24")
				must(t, changeNICs(t, dir, target, func(e *resource.Edit[network.NIC]) { e.Add(n) }).Err)
				c.do(t, h)
				must(t, network.Pin(place.Isulad, h.id, h.pid))
				take := func() error {
					if stopped {
						return network.Cleanup{ID: h.id, Records: []network.NIC{n}, SwitchPorts: true}.Do(t.Context())
					}
					return changeNICs(t, dir, target, func(e *resource.Edit[network.NIC]) { e.Remove(n) }).Err
				}
				err := take()
				if c.back != (err == nil) || err != nil && !strings.Contains(err.Error(), "nothing was noted") {
					t.Errorf("%v, want that it came back %v, or why not", err, c.back)
				}
				if !c.back {
					same(t, "host", hostLinks(t))
					if kept := strings.Contains(read(t, filepath.Join(dir, config.Name)), "phy0"); !kept || stopped && !errors.Is(err, network.ErrStillInUse) {
						t.Errorf("recorded %v, %v; want that it stays where it is", kept, err)
					}
					h.ip(t, "link", "set", "lan0", "down", "netns", fmt.Sprint(os.Getpid()), "name", "phy0") // as the message says
					must(t, take())
				}
				same(t, "host", hostLinks(t), there)
				if link := ip(t, "-o", "link", "show", "phy0"); !strings.Contains(link, "altname rack7port3") {
					t.Errorf("without the name that the host gave it: %s", link)
				}
				must(t, network.Unpin(h.id))
			})
		}
	}
}

func TestAVethThatNobodyNotedGoesFromWhereItsOtherEndIs(t *testing.T) {
	bridges(t, "br0")
	h := hold(t, nil)
	target := h.target(t, hostOwner)
	dir, n := t.TempDir(), veth("h1", "eth1", "172.17.28.2/24")
	must(t, changeNICs(t, dir, target, func(e *resource.Edit[network.NIC]) { e.Add(n) }).Err)
	h.ip(t, "link", "set", "eth1", "netns", fmt.Sprint(h.service(t)))
	must(t, changeNICs(t, dir, target, func(e *resource.Edit[network.NIC]) { e.Remove(n) }).Err)
	same(t, "host", hostLinks(t), br0)
}
