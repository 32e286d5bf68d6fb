package hooks

import (
	"errors"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/network"
	"isula.org/isulad-tools/resource"
)

func TestTheCommandThatRemovesARouteIsForAShell(t *testing.T) {
	t.Parallel()
	for r, want := range map[network.Route]string{
		{GW: "10.0.0.1", Metric: "7"}: `remove-route web '[{"dest":"","src":"","gw":"10.0.0.1","dev":"","metric":"7"}]'`,
		{Dest: "it's", Dev: "eth1"}:   `remove-route web '[{"dest":"it'\''s","src":"","gw":"","dev":"eth1"}]'`,
	} {
		h := &Hook{Generation: place.Isulad}
		failed := &resource.RecordError{Verb: "add", Kind: "route", Record: r, Err: errors.New("no")}
		got := h.advise(state{State: specs.State{ID: "web", Bundle: "/graph/engines/lcr/web"}}, failed).Error()
		if want = failed.Error() + "; to start without it run: isulad-tools " + want; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
