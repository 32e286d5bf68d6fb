package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The containers of one iSulad, of which a command finds one.
const (
	crowd   = 1000
	crowded = "/bench-graph"
)

// what the command is told of it
const (
	byID     = "list-path, by its id"
	byPrefix = "list-path, by twelve digits of its id"
	byName   = "list-path, by its name"
	alone    = "list-path, of six containers, by its name"
)

// lookups is what finding a container in iSulad's files costs.
var lookups = group{
	name:   fmt.Sprintf("lookup among %d containers of iSulad", crowd),
	rounds: 100,
	subjects: []subject{
		{empty, warm(func(w *world) (sample, error) { return w.program("empty", "prestart").run() })},
		{alone, func(w *world) (sample, error) { return w.finds(6, 3, func(id, name string) string { return name }) }},
		{byID, func(w *world) (sample, error) {
			return w.finds(crowd, crowd/2, func(id, name string) string { return id })
		}},
		{byPrefix, func(w *world) (sample, error) {
			return w.finds(crowd, crowd/2, func(id, name string) string { return id[:12] })
		}},
		{byName, func(w *world) (sample, error) {
			return w.finds(crowd, crowd/2, func(id, name string) string { return name })
		}},
	},
	figures: []figure{overEmpty(alone), overEmpty(byID).atMost(5), overEmpty(byPrefix).atMost(5), overEmpty(byName).atMost(25)},
}

// finds lists the paths of container n of so many.
func (w *world) finds(of, n int, word func(id, name string) string) (sample, error) {
	graph := fmt.Sprint(crowded, of)
	if _, err := os.Lstat(graph); err != nil {
		for i := range of {
			if err := crowdMember(graph, i); err != nil {
				return sample{}, err
			}
		}
	}
	id, name := memberNames(n)
	return invocation{
		path: filepath.Join(bin, "isulad-hooks"), args: []string{"isulad-tools", "--graph", graph, "list-path", word(id, name)}, dir: "/", says: `["/`,
	}.run()
}

// memberNames are unlike each other from the first digit on.
func memberNames(i int) (id, name string) {
	return fmt.Sprintf("%064x", uint64(i+1)*0x9e3779b97f4a7c15)[48:] + strings.Repeat("0", 48), fmt.Sprint("web-", i)
}

// crowdMember makes what iSulad writes for a container that was created, of the size
// that it has.
func crowdMember(graph string, i int) error {
	id, name := memberNames(i)
	dir := filepath.Join(graph, "engines/runc", id)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	log := strings.Repeat(" ", 1200)
	for file, text := range map[string]string{
		"config.v2.json": `{
    "CommonConfig": {
        "Path": "/sbin/init",` + log + `
        "Name": "` + name + `",
        "id": "` + id + `"
    }
}
`,
		"hostconfig.json": "{}\n", "container_state.json": "{}\n", "device_hook.json": `{"bindToAdd":["/a:/b:rw"]}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o640); err != nil {
			return err
		}
	}
	return nil
}
