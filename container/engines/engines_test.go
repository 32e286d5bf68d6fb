package engines

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"isula.org/isulad-tools/container"
)

func TestAnEngineIsAWord(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]container.Engine{
		"any":                first{iSulad{}, true, []container.Engine{Podman{}, Runc{Root: "/run/runc"}, crunOf("/run/crun")}},
		"isula":              first{iSulad{}, true, nil},
		"podman":             Podman{},
		"podman:/srv/pods":   Podman{Root: "/srv/pods"},
		"crun":               crunOf("/run/crun"),
		"runc":               Runc{Root: "/run/runc"},
		"runc:/run/isulad/x": Runc{Root: "/run/isulad/x"},
		"runc:/with:colon":   Runc{Root: "/with:colon"},
		"runc:/":             Runc{Root: "/"},
	} {
		t.Run(word, func(t *testing.T) {
			got, err := New(word, "")
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%q: %v, %v, want %v", word, got, err, want)
			}
		})
	}
	for _, word := range []string{"", " ", "any:/x", "docker", "Runc", "crun:/x", "podman:", "podman:x", "isula:", "isula:/x", "runc:", "runc:relative", ":/x", "runc /x", "isula\n"} {
		if got, err := New(word, ""); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", word)) {
			t.Errorf("%q: %v, %v, want an error that names it", word, got, err)
		}
	}
}
