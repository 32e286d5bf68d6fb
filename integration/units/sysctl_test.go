package units

import (
	"maps"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"isula.org/isulad-tools/sysctl"
)

// parameters reads kernel parameters of process pid; "" is none of this name.
func parameters(t testing.TB, pid int, keys []string) map[string]string {
	t.Helper()
	values := map[string]string{}
	for _, key := range keys {
		file := "/proc/sys/" + strings.ReplaceAll(key, ".", "/")
		out, err := exec.CommandContext(t.Context(), "nsenter", "--net", "--ipc", "--target", strconv.Itoa(pid), "cat", file).Output()
		if err == nil {
			values[key] = strings.TrimSpace(string(out))
		}
	}
	return values
}

func TestParametersAreSetInTheNamespacesThatHaveThem(t *testing.T) {
	const forward, msgmax = "net.ipv4.ip_forward", "kernel.msgmax"
	for name, c := range map[string]struct {
		options []option
		set     map[string]string
		says    string // "": they are set
	}{
		"of the network, with the host's IPC":  {nil, map[string]string{forward: "1"}, ""},
		"of the network, with slashes":         {nil, map[string]string{"net/ipv4/ip_forward": "1"}, ""},
		"of both, with both its own":           {[]option{ipcns}, map[string]string{forward: "1", msgmax: "12345"}, ""},
		"of IPC alone":                         {[]option{ipcns}, map[string]string{msgmax: "12345"}, ""},
		"of IPC, with the host's":              {nil, map[string]string{msgmax: "12345"}, "the ipc namespace of process"},
		"of both, with the host's IPC":         {nil, map[string]string{forward: "1", msgmax: "12345"}, "the ipc namespace of process"},
		"the second is none that there is":     {nil, map[string]string{forward: "1", "net.ipv4.no_such": "1"}, "load the kernel module"},
		"the second is the host's":             {nil, map[string]string{forward: "1", "net.ipv4.tcp_mem": "1 2 3"}, "set it on the host"},
		"the second is of no namespace at all": {nil, map[string]string{forward: "1", "vm.swappiness": "1"}, "not a parameter of a container's"},
	} {
		t.Run(name, func(t *testing.T) {
			h := hold(t, nil, append(c.options, userns)...)
			keys := []string{forward, msgmax}
			host, before := parameters(t, 1, keys), parameters(t, h.pid, keys)
			want := maps.Clone(before)
			err := sysctl.Set(h.pid, mappedRoot, c.set)
			if c.says == "" {
				must(t, err)
				for key, value := range c.set {
					want[strings.ReplaceAll(key, "/", ".")] = value
				}
			} else if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want an error that says %q", err, c.says)
			}
			if got := parameters(t, h.pid, keys); !maps.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
			if now := parameters(t, 1, keys); !maps.Equal(now, host) {
				t.Errorf("the host had %v and has %v", host, now)
			}
		})
	}
}

// Each row is given the value that the host has: whatever becomes of the test, the
// machine's stays.
func TestAParameterOfTheWholeHostIsRefused(t *testing.T) {
	h := hold(t, nil, userns)
	for name, keys := range map[string][]string{
		"not there in another namespace":  {"net.core.netdev_max_backlog", "net.ipv4.tcp_mem", "net.ipv4.udp_mem"},
		"read-only in another namespace":  {"net.ipv4.tcp_available_congestion_control", "net.ipv4.tcp_allowed_congestion_control"},
		"writable, and yet the host's":    {"net.netfilter.nf_hooks_lwtunnel"},
		"writable there on older kernels": {"net.netfilter.nf_conntrack_max", "net.netfilter.nf_conntrack_buckets", "net.netfilter.nf_conntrack_expect_max", "net.ipv4.vs.debug_level"},
	} {
		host := parameters(t, 1, keys)
		for _, key := range slices.Concat(keys, []string{strings.ReplaceAll(keys[0], ".", "/")}) {
			t.Run(name+": "+key, func(t *testing.T) {
				value := host[strings.ReplaceAll(key, "/", ".")]
				err := sysctl.Set(h.pid, mappedRoot, map[string]string{key: value})
				if err == nil || !strings.Contains(err.Error(), strconv.Quote(key)) || !strings.Contains(err.Error(), "set it on the host") {
					t.Errorf("got %v, want an error that names it and says what to do", err)
				}
			})
		}
		if now := parameters(t, 1, keys); !maps.Equal(now, host) {
			t.Errorf("the host had %v and has %v", host, now)
		}
	}
}
