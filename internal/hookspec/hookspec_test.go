package hookspec

import "testing"

func TestHooks(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spec  string
		paths []string
		fails bool
	}{
		"two":                   {`{"prestart":[{"path":"/a"},{"path":"/b","args":["b"]}]}`, []string{"/a", "/b"}, false},
		"none at the stage":     {`{"poststop":[{"path":"/a"}]}`, nil, false},
		"null":                  {`{"prestart":null}`, nil, false},
		"another stage is odd":  {`{"poststop":7,"prestart":[{"path":"/a"}]}`, []string{"/a"}, false},
		"the stage is no list":  {`{"prestart":{"path":"/a"}}`, nil, true},
		"no JSON":               {`{`, nil, true},
		"an empty file":         {``, nil, true},
		"a hook is no object":   {`{"prestart":["/a"]}`, nil, true},
		"a path is no text":     {`{"prestart":[{"path":1}]}`, nil, true},
		"a hook without a path": {`{"prestart":[{}]}`, []string{""}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hooks, err := Hooks([]byte(c.spec), "prestart")
			if (err != nil) != c.fails {
				t.Fatalf("error %v, want one: %v", err, c.fails)
			}
			if c.fails {
				return
			}
			if len(hooks) != len(c.paths) {
				t.Fatalf("%v, want %v", hooks, c.paths)
			}
			for i, h := range hooks {
				if h.Path != c.paths[i] {
					t.Errorf("hook %d: %q, want %q", i, h.Path, c.paths[i])
				}
			}
		})
	}
}
