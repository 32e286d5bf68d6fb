package bench

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"isula.org/isulad-tools/internal/place"
)

const (
	noPolicy    = "5 modules that are there, no policy"
	smallPolicy = "the same, a policy of 10 patterns"
)

// theModules are there: the sandbox's kernel has none to load. A start that asks
// for them executes nothing.
const theModules = "loop,nf_conntrack,bridge,ipv6,printk"

// modulePolicy is what a policy costs a start whose modules are all there.
var modulePolicy = group{
	name:   "kernel modules",
	rounds: 400,
	subjects: []subject{
		{noPolicy, warm(func(w *world) (sample, error) { return startModules(w, "") })},
		{smallPolicy, warm(func(w *world) (sample, error) {
			return startModules(w, `{"default":"deny","allow":["ip_vs*","nf_*","loop","ipv6","br*","printk","x_tables"],"deny":["*_test","nbd","usb[a-z]*"]}`)
		})},
	},
	figures: []figure{
		{"with a policy / without", func(r round) float64 { return r.wall(smallPolicy) / r.wall(noPolicy) }, "", 1.05},
	},
}

// syslog takes the audit's lines, as a host's daemon does.
var syslog = sync.OnceValue(func() error {
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: "/dev/log", Net: "unixgram"})
	if err != nil {
		return err
	}
	go func() {
		for buf := make([]byte, 4096); err == nil; {
			_, err = conn.Read(buf)
		}
	}()
	return nil
})

// startModules starts a container that asks for modules, under a policy if any.
func startModules(w *world, policy string) (s sample, err error) {
	if policy == "" {
		if err := os.Remove(place.ModulePolicy); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return s, err
		}
	} else {
		if err := os.MkdirAll(filepath.Dir(place.ModulePolicy), 0o755); err != nil {
			return s, err
		}
		if err := os.WriteFile(place.ModulePolicy, []byte(policy), 0o644); err != nil {
			return s, err
		}
	}
	return w.asking(theModules, func() (sample, error) {
		return w.started(nil, func(hook invocation) (sample, error) {
			s, err := hook.run()
			if err != nil {
				return s, err
			}
			if data, err := os.ReadFile(filepath.Join(place.Modules, "asks", id)); err != nil || !strings.Contains(string(data), "nf_conntrack") {
				return s, fmt.Errorf("what is asked for is not recorded: %s, %w", data, err)
			}
			return s, nil
		})
	})
}

// asking has the container ask for modules while run runs.
func (w *world) asking(modules string, run func() (sample, error)) (s sample, err error) {
	if err := syslog(); err != nil {
		return s, err
	}
	config := filepath.Join(bundle, "config.json")
	spec, err := os.ReadFile(config)
	if err != nil {
		return s, err
	}
	asking := strings.Replace(string(spec), "\"env\": [\n", `"env": ["KERNEL_MODULES=`+modules+`",`, 1)
	if asking == string(spec) {
		return s, errors.New("config.json has no environment")
	}
	if err := os.WriteFile(config, []byte(asking), 0o640); err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, os.WriteFile(config, spec, 0o640)) }()
	return run()
}
