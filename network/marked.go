package network

import (
	"strings"

	"isula.org/isulad-tools/internal/rtnl"
	"isula.org/isulad-tools/resource"
)

// Marked is a link of the host that an older version lent to a container and that
// the kernel returned when the container's namespace was gone: it has its mark still.
type Marked struct {
	Name string // now
	Was  string // before it was lent
}

// MarkedLinks are those of the host.
func MarkedLinks() (list []Marked, err error) {
	host, err := rtnl.Dial()
	if err != nil {
		return nil, err
	}
	defer host.Close()
	links, err := host.Links()
	for _, l := range links {
		if was, ok := strings.CutPrefix(l.Alias, legacyAliasOf("")); ok && was != "" {
			list = append(list, Marked{l.Name, was})
		}
	}
	return list, wrapOp("list links", err)
}

// Return gives the link its name of before, or one like that when another link has it,
// and takes the mark away. A link that is not marked any more is left alone.
func (m Marked) Return() error {
	host, err := rtnl.Dial()
	if err != nil {
		return err
	}
	defer host.Close()
	link, err := linkByName(host, m.Name)
	if err != nil || link == nil || link.Alias != legacyAliasOf(m.Was) {
		return err
	}
	w := &session{Target: &resource.Target{}, host: host, containerEnded: true}
	err = w.returnToHost(parsedNIC{NIC: NIC{HostName: m.Was}}, nil, link)
	if _, told := err.(resource.Warning); told {
		return nil // it has another name
	}
	return err
}
