package sysctl

import (
	"os"
	"strings"
	"testing"
)

func TestOnlyParametersOfNamespacesAreTaken(t *testing.T) {
	t.Parallel()
	for key, file := range map[string]string{
		"net.ipv4.ip_forward":               "net/ipv4/ip_forward",
		"net/ipv4/ip_forward":               "net/ipv4/ip_forward",
		"net.ipv4.conf.eth0/1.rp_filter":    "net/ipv4/conf/eth0.1/rp_filter",
		"net/ipv4/conf/eth0.1/rp_filter":    "net/ipv4/conf/eth0.1/rp_filter",
		"kernel.shmmax":                     "kernel/shmmax",
		"kernel/sem":                        "kernel/sem",
		"fs.mqueue.msg_max":                 "fs/mqueue/msg_max",
		"":                                  "",
		"net":                               "",
		"net.":                              "",
		"network.x":                         "",
		"kernel.semx":                       "",
		"kernel.panic":                      "",
		"fs.mqueuex":                        "",
		"net..ipv4":                         "",
		"net/../kernel/panic":               "",
		"net.ipv4.ip_forward/":              "net/ipv4/ip_forward.",
		"net/ipv4/ip_forward/":              "",
		"net.netfilter.nf_hooks_lwtunnel":   "",
		"net/netfilter/nf_hooks_lwtunnel":   "",
		"net.ipv4.vs/debug_level":           "net/ipv4/vs.debug_level", // no such parameter
		"net/ipv4/vs/debug_level":           "",
		"net.netfilter.nf_conntrack_max":    "",
		"net.netfilter.nf_conntrack_tcp_be": "net/netfilter/nf_conntrack_tcp_be",
	} {
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			p, err := find(key)
			if file == "" {
				if err == nil {
					t.Errorf("got %s, want an error", p.file)
				}
				return
			}
			if err != nil || strings.TrimPrefix(p.file, "/proc/sys/") != file {
				t.Errorf("got %s, %v, want %s", p.file, err, file)
			}
		})
	}
}

// A parameter that a module has for all namespaces at once is one file in them all.
func TestAFileThatIsTheHostsIsRefused(t *testing.T) {
	t.Parallel()
	p, err := find("net.ipv4.ip_forward")
	if err == nil {
		err = p.check()
	}
	if err != nil {
		t.Fatalf("got %v without a host, want nothing", err)
	}
	if p.host, err = os.Open(p.file); err != nil {
		t.Fatal(err)
	}
	defer p.host.Close()
	if err := p.check(); err == nil || !strings.Contains(err.Error(), "set it on the host") {
		t.Errorf("got %v, want that it is the host's", err)
	}
}
