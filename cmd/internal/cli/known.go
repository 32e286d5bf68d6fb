package cli

import (
	"cmp"
	"context"

	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/container/engines"
)

// known lists the containers of an engine, as in --engine, by its files. No engine is
// asked: it may be busy. Without one, all are listed.
func known(engine string) []container.Container {
	if e, err := engines.New(cmp.Or(engine, engines.Any), ""); err == nil {
		if l, ok := e.(container.Lister); ok {
			list, _ := l.List(context.Background())
			return list
		}
	}
	list, _ := engines.List(context.Background(), "") // what cannot be read is not offered
	return list
}

// names are what people call containers by.
func names(list []container.Container) []string {
	all := make([]string, len(list))
	for i, c := range list {
		all[i] = cmp.Or(c.Name, c.ID)
	}
	return all
}
