package inspection

import (
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/mounts"
	"isula.org/isulad-tools/network"
	"isula.org/isulad-tools/resource"
)

// kinds are all kinds, in the order in which a repair mends them: permissions that are too
// wide go first, and what others need comes before them.
func kinds() []kind {
	list := []kind{
		modules{},
		parameters{},
		permissions{},
		records[devices.Device]{
			kind: &devices.Kind, repair: &devices.Kind, called: func(d devices.Device) string { return d.PathInContainer },
			gone:  devices.Device.IsGone,
			views: func(s *Subject, list []devices.Device) ([]resource.View, error) { return devices.Views(s.Target, list) },
		},
		selectors{},
		rules{},
		unit{},
		records[mounts.Bind]{
			kind: &mounts.Kind, repair: mounts.Repairing(), called: func(b mounts.Bind) string { return b.Container }, views: paths,
		},
	}
	for _, limit := range devices.LimitKinds() {
		list = append(list, records[devices.Limit]{
			kind: limit, repair: limit, called: func(l devices.Limit) string { return l.Path },
			views: func(s *Subject, list []devices.Limit) ([]resource.View, error) {
				return devices.LimitViews(s.Target, limit, list)
			},
		})
	}
	return append(list,
		pin{},
		records[network.NIC]{
			kind: &network.Interfaces, repair: network.Repairing(), called: func(n network.NIC) string { return n.Name }, reverts: true,
			views: func(s *Subject, list []network.NIC) ([]resource.View, error) { return network.Views(s.Target, list) },
		},
		records[network.Route]{
			kind: &network.Routes, repair: &network.Routes, called: network.Route.Name,
			views: func(s *Subject, list []network.Route) ([]resource.View, error) {
				return network.RouteViews(s.Target, list)
			},
		},
	)
}
