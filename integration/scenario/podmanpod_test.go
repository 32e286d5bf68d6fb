package scenario

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"isula.org/isulad-tools/integration/sandbox"
)

// Two of podman's containers share a network namespace, as those of a pod do: each has its
// own interfaces there, and takes no other along when it stops.
func TestContainersOfOneNetworkNamespaceKeepTheirOwn(t *testing.T) {
	install(t)
	host := filepath.Dir(scratch(t))
	bridge, own := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs()}, &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: "podpeer"}
	bridge.Name, own.Name = "podbr", "podown"
	check(t, netlink.LinkAdd(bridge))
	check(t, netlink.LinkAdd(own))
	t.Cleanup(func() {
		check(t, netlink.LinkDel(bridge))
		check(t, netlink.LinkDel(own))
	})
	dir, err := os.MkdirTemp(host, "pod-")
	check(t, err)
	b := &box{t: t, bundle: dir, podman: &ofPodman{Podman: sandbox.Podman{Dir: dir}}}
	check(t, b.putHooks())
	for _, name := range []string{"one", "two"} {
		rootfs := filepath.Join(dir, name)
		check(t, sandbox.Rootfs(rootfs))
		c := sandbox.PodmanContainer{Name: name, Rootfs: rootfs, Args: []string{"--annotation", "isula.org/tools=true"}, Command: []string{"/bin/sleep", "2000000000"}}
		if name == "two" {
			c.Network = "container:one"
		}
		_, err := b.podman.Create(c)
		check(t, err)
		t.Cleanup(func() { check(t, b.podman.Remove(name)) })
		_, err = b.podman.Do("start", name)
		check(t, err)
	}
	for _, args := range [][]string{
		{"add-nic", "--type", "veth", "--bridge", "podbr", "--name", "podveth:eth1", "--ip", "10.91.0.2/24", "one"},
		{"add-nic", "--type", "eth", "--name", "podown:eth2", "--ip", "10.92.0.2/24", "two"},
	} {
		if _, err := b.tool(args...); err != nil {
			t.Fatal(err)
		}
	}
	inside := func(want string) {
		t.Helper()
		out, err := b.podman.Do("exec", "one", "ls", "/sys/class/net")
		if got := fmt.Sprint(strings.Fields(out)); err != nil || got != want {
			t.Errorf("inside are %s, %v; want %s", got, err, want)
		}
	}
	inside("[eth1 eth2 lo]")
	_, err = b.podman.Do("stop", "--time", "0", "two")
	check(t, err)
	inside("[eth1 lo]")
	if _, err := netlink.LinkByName("podown"); err != nil {
		t.Errorf("the host's interface: %v", err)
	}
	_, err = b.podman.Do("start", "two")
	check(t, err)
	inside("[eth1 eth2 lo]")
}
