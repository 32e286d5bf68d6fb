package bench

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const (
	bridge  = "benchbr"
	linkSet = 77 // the group by which links are deleted at once
)

// veths are pairs with an end in a bridge, an address and all else that add-nic
// asks for. Bare are two runs of ip(8), of one file of commands each: on the host,
// which makes the pairs, the other end born in the container's namespace, and there.
var veths = kind{
	prepare: func(*world, int) error {
		if _, err := netlink.LinkByName(bridge); err == nil {
			return nil
		}
		a := netlink.NewLinkAttrs()
		a.Name = bridge
		br := &netlink.Bridge{LinkAttrs: a}
		return errors.Join(netlink.LinkAdd(br), netlink.LinkSetUp(br))
	},
	records: func(_ *world, n int) map[string]any {
		list := make([]map[string]any, n)
		for i := range list {
			list[i] = map[string]any{
				"Ip": vethAddress(i), "Mac": vethMAC(i), "Mtu": 1500, "Qlen": 1000, "Type": "veth", "Bridge": bridge,
				"HostNicName": vethHost(i), "CtrNicName": vethInside(i),
			}
		}
		return map[string]any{"networkInterfaces": list}
	},
	bare:  batches,
	check: checkVeths,
}

func vethHost(i int) string    { return fmt.Sprintf("bench%d", i) }
func vethInside(i int) string  { return fmt.Sprintf("net%d", i) }
func vethAddress(i int) string { return fmt.Sprintf("10.77.%d.2/24", i) }
func vethMAC(i int) string     { return fmt.Sprintf("02:77:00:00:%02x:02", i) }

// checkVeths returns nil when the container has exactly these links, and the host
// their other ends.
func checkVeths(w *world, n int) error {
	ns, err := netns.GetFromPath(fmt.Sprintf("/proc/%d/ns/net", w.PID))
	if err != nil {
		return err
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns)
	if err != nil {
		return err
	}
	defer h.Close()
	all, err := h.LinkList()
	if err != nil {
		return err
	}
	br, err := netlink.LinkByName(bridge)
	if err != nil {
		return err
	}
	there := 0
	for _, l := range all {
		a := l.Attrs()
		i := 0
		if _, err := fmt.Sscanf(a.Name, "net%d", &i); err != nil {
			continue
		}
		there++
		addresses, err := h.AddrList(l, netlink.FAMILY_V4)
		if err != nil {
			return err
		}
		host, err := netlink.LinkByName(vethHost(i))
		if err != nil {
			return fmt.Errorf("%s: %w", vethHost(i), err)
		}
		b := host.Attrs()
		switch {
		case a.RawFlags&unix.IFF_UP == 0 || b.RawFlags&unix.IFF_UP == 0:
			return fmt.Errorf("%s is not up", a.Name)
		case a.MTU != 1500 || a.TxQLen != 1000 || b.TxQLen != 1000 || a.HardwareAddr.String() != vethMAC(i):
			return fmt.Errorf("%s has MTU %d, queue %d, address %s", a.Name, a.MTU, a.TxQLen, a.HardwareAddr)
		case len(addresses) != 1 || addresses[0].IPNet.String() != vethAddress(i) || !addresses[0].Broadcast.Equal(net.IPv4(10, 77, byte(i), 255)):
			return fmt.Errorf("%s has the addresses %v", a.Name, addresses)
		case b.MasterIndex != br.Attrs().Index:
			return fmt.Errorf("%s is not in the bridge", b.Name)
		}
	}
	if there != n {
		return fmt.Errorf("the container has %d links for %d", there, n)
	}
	return nil
}

// batches writes the commands and returns what runs them. What they make is
// deleted with the next round's call of it.
func batches(w *world, n int) (func() error, error) {
	var outside, inside strings.Builder
	for i := range n {
		fmt.Fprintf(&outside, "link add name %s mtu 1500 txqueuelen 1000 group %d up master %s type veth peer name %s mtu 1500 txqueuelen 1000 address %s netns %d\n",
			vethHost(i), linkSet, bridge, vethInside(i), vethMAC(i), w.PID)
		fmt.Fprintf(&inside, "addr add %s broadcast + dev %[2]s\nlink set %[2]s up\n", vethAddress(i), vethInside(i))
	}
	files := []string{filepath.Join(host, "outside"), filepath.Join(host, "inside")}
	for i, text := range []string{outside.String(), inside.String()} {
		if err := os.WriteFile(files[i], []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	ip, err := exec.LookPath("ip")
	if err != nil {
		return nil, err
	}
	there, err := forkIn(w.PID)
	if err != nil {
		return nil, err
	}
	return func() error {
		defer close(there)
		if err := batch(ip, files[0]); err != nil {
			return err
		}
		done := make(chan error)
		there <- func() { done <- batch(ip, files[1]) }
		return <-done
	}, nil
}

// batch runs ip(8) from fork to wait.
func batch(ip, file string) error {
	pid, err := syscall.ForkExec(ip, []string{"ip", "-batch", file}, &syscall.ProcAttr{Env: []string{}, Files: []uintptr{0, 1, 2}})
	if err != nil {
		return &os.PathError{Op: "exec", Path: ip, Err: err}
	}
	var status syscall.WaitStatus
	if _, err := retry(func() (int, error) { return syscall.Wait4(pid, &status, 0, nil) }); err != nil {
		return os.NewSyscallError("wait4", err)
	}
	if !status.Exited() || status.ExitStatus() != 0 {
		return fmt.Errorf("ip -batch %s: wait status %#x", file, status)
	}
	return nil
}

// forkIn returns what runs functions on a thread in the network namespace of a
// process, until it is closed: what is forked there is there, too.
func forkIn(pid int) (chan<- func(), error) {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	work, entered := make(chan func()), make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		entered <- os.NewSyscallError("setns", unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET))
		for f := range work {
			f()
		}
	}()
	if err := <-entered; err != nil {
		close(work)
		return nil, err
	}
	return work, nil
}

// dropLinks deletes what batches made.
func dropLinks() error {
	if out, err := exec.Command("ip", "link", "del", "group", fmt.Sprint(linkSet)).CombinedOutput(); err != nil {
		return fmt.Errorf("delete links: %w: %s", err, out)
	}
	return nil
}

func ofBatch(n int) string { return fmt.Sprintf("ip -batch twice, %d", n) }

// interfaces is what interfaces cost a start against two runs of ip(8).
func interfaces(rounds int, sizes ...int) group {
	g := group{name: "network interfaces, veth", rounds: rounds, subjects: []subject{{nothing, startNothing}}}
	for _, n := range sizes {
		g.subjects = append(g.subjects,
			subject{ofHook(n), func(w *world) (sample, error) { return veths.runHook(w, n) }},
			subject{ofBatch(n), func(w *world) (sample, error) {
				s, err := veths.runBare(w, n)
				return s, errors.Join(err, dropLinks())
			}},
		)
		g.figures = append(g.figures,
			figure{fmt.Sprintf("(%d - none) / ip -batch twice", n), func(r round) float64 {
				return (r.wall(ofHook(n)) - r.wall(nothing)) / r.wall(ofBatch(n))
			}, "", 1},
			figure{name: fmt.Sprintf("whole prestart, %d / ip -batch twice", n), value: func(r round) float64 {
				return r.wall(ofHook(n)) / r.wall(ofBatch(n))
			}},
		)
	}
	most := sizes[len(sizes)-1]
	g.figures = append(g.figures, figure{name: "each", unit: "us", value: micro(func(r round) float64 {
		return (r.wall(ofHook(most)) - r.wall(nothing)) / float64(most)
	})})
	return g
}

const typical = "3 devices, 5 paths, 2 interfaces, 1 module"

// typicalStart is a start as most are: a little of everything.
var typicalStart = group{
	name:   "typical start",
	rounds: 100,
	subjects: []subject{
		{empty, warm(func(w *world) (sample, error) { return w.program("empty", "prestart").run() })},
		{nothing, warm(startNothing)},
		{typical, startTypical},
	},
	figures: []figure{
		{name: "typical / empty program", value: func(r round) float64 { return r.wall(typical) / r.wall(empty) }},
		{name: "typical - nothing recorded", unit: "ms", value: func(r round) float64 {
			return (r.wall(typical) - r.wall(nothing)) / float64(time.Millisecond)
		}},
	},
}

func startTypical(w *world) (sample, error) {
	parts := []struct {
		kind
		n int
	}{{charDevices, 3}, {binds, 5}, {veths, 2}}
	records := map[string]any{}
	for _, p := range parts {
		if err := p.prepare(w, p.n); err != nil {
			return sample{}, err
		}
		for key, list := range p.records(w, p.n) {
			records[key] = list
		}
	}
	return w.asking("loop", func() (sample, error) {
		return w.started(records, func(hook invocation) (sample, error) {
			s, err := hook.run()
			for _, p := range parts {
				if err == nil {
					err = p.check(w, p.n)
				}
			}
			return s, err
		})
	})
}
