package container

import (
	"os"
	"path/filepath"
	"testing"
)

func TestAContainerOfTheHostsNetworkIsKnownBeforeItRuns(t *testing.T) {
	t.Parallel()
	const own, joined, hosts = `{"type":"network"}`, `{"type":"network","path":"/proc/4711/ns/net"}`, `{"type":"network","path":"/proc/1/ns/net"}`
	for _, c := range []struct {
		name, namespaces, hostconfig string
		want                         bool
	}{
		{"no namespace at all is unknown", ``, ``, false},
		{"all but a network namespace", `{"type":"mount"}`, ``, true},
		{"a network namespace of its own", own, ``, false},
		{"that of another container", joined, ``, false},
		{"the host's", hosts, ``, true},
		{"its own for now, and iSulad was asked for the host's", own, `{"NetworkMode":"host"}`, true},
		{"its own, as iSulad was asked for", own, `{"NetworkMode":"bridge"}`, false},
		{"its own, and iSulad was asked for nothing", own, `{"SystemContainer":true}`, false},
		{"its own, beside a file that does not parse", own, `{"NetworkMode":["host"]}`, false},
		{"the host's, whatever iSulad was asked for", hosts, `{"NetworkMode":"bridge"}`, true},
		{"that of another container, which iSulad was asked for", joined, `{"NetworkMode":"container:other"}`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := bundle(t, `{"linux":{"namespaces":[`+c.namespaces+`]}}`)
			if c.hostconfig != "" {
				if err := os.WriteFile(filepath.Join(dir, "hostconfig.json"), []byte(c.hostconfig), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s, err := ReadSpec(dir)
			if err != nil {
				t.Fatal(err)
			}
			if got := s.HostNet(dir); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
