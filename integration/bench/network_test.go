package bench

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// interfaces makes the group that measures pairs in a bridge of the host against
// ip(8): one run for the host's ends, with peers born in the container, and one for
// the container's. It has to start two programs for that, and nothing else.
func interfaces(rounds int, sizes ...int) group {
	g := group{name: "network interfaces", rounds: rounds, subjects: []subject{{nothing, startNothing}}}
	ofIP := func(n int) string { return fmt.Sprintf("two runs of ip -batch, %d", n) }
	for _, n := range sizes {
		g.subjects = append(g.subjects,
			subject{ofHook(n), func(w *world) (sample, error) { return hookInterfaces(w, n) }},
			subject{ofIP(n), func(w *world) (sample, error) { return ipInterfaces(w, n) }},
		)
		g.figures = append(g.figures, figure{
			name: fmt.Sprintf("(%d - none) / ip", n), limit: 1,
			value: func(r round) float64 { return (r.wall(ofHook(n)) - r.wall(nothing)) / r.wall(ofIP(n)) },
		})
	}
	return g
}

const benchBridge = "benchbr"

// bridge makes the bridge that all are ports of.
func bridge() error {
	if exec.Command("ip", "link", "show", benchBridge).Run() == nil {
		return nil
	}
	return ipBatch(nil, "link add "+benchBridge+" up type bridge")
}

// ipBatch runs lines of ip(8), by way of enter.
func ipBatch(enter []string, lines ...string) error {
	args := append(enter, "ip", "-batch", "-")
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%q: %w: %s", args, err, out)
	}
	return nil
}

func benchAddress(i int) string { return fmt.Sprintf("10.77.%d.%d/16", i/200, i%200+1) }

func hookInterfaces(w *world, n int) (sample, error) {
	if err := bridge(); err != nil {
		return sample{}, err
	}
	list := make([]map[string]any, n)
	for i := range list {
		list[i] = map[string]any{
			"Ip": benchAddress(i), "Mac": "", "Mtu": 1500, "Qlen": 1000, "Type": "veth", "Bridge": benchBridge,
			"HostNicName": fmt.Sprintf("bench%d", i), "CtrNicName": fmt.Sprintf("eth%d", i),
		}
	}
	return w.started(map[string]any{"networkInterfaces": list}, func(hook invocation) (sample, error) {
		s, err := hook.run()
		if err == nil {
			err = checkInterfaces(w, n)
		}
		return s, err
	})
}

func ipInterfaces(w *world, n int) (sample, error) {
	if err := bridge(); err != nil {
		return sample{}, err
	}
	return w.started(nil, func(hook invocation) (s sample, err error) {
		if _, err := hook.run(); err != nil {
			return s, err
		}
		var host, inside, gone []string
		for i := range n {
			host = append(host, fmt.Sprintf("link add bench%d mtu 1500 txqueuelen 1000 master %s up type veth peer name eth%d mtu 1500 txqueuelen 1000 netns %d", i, benchBridge, i, w.PID))
			inside = append(inside, fmt.Sprintf("addr add %s brd + dev eth%d", benchAddress(i), i), fmt.Sprintf("link set eth%d up", i))
			gone = append(gone, fmt.Sprintf("link del bench%d", i))
		}
		started := time.Now()
		err = ipBatch(nil, host...)
		if err == nil {
			err = ipBatch([]string{"nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", w.PID)}, inside...)
		}
		s.wall = time.Since(started)
		if err == nil {
			err = checkInterfaces(w, n)
		}
		if err != nil {
			return s, err
		}
		return s, ipBatch(nil, gone...)
	})
}

// checkInterfaces returns nil when the container has n interfaces that can send.
func checkInterfaces(w *world, n int) error {
	routes, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/route", w.PID))
	if err != nil {
		return err
	}
	if got := bytes.Count(routes, []byte("\neth")); got != n { // the kernel's, one for each that is up
		return fmt.Errorf("the container has %d of %d interfaces", got, n)
	}
	return nil
}
