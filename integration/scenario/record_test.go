package scenario

// recorded is device_hook.json.
type recorded struct {
	Binds     []string `json:"bindToAdd,omitempty"`
	Devices   []device `json:"deviceToAdd,omitempty"`
	ReadIOPS  []limit  `json:"readIops,omitempty"`
	WriteIOPS []limit  `json:"writeIops,omitempty"`
	ReadBPS   []limit  `json:"readBps,omitempty"`
	WriteBPS  []limit  `json:"writeBps,omitempty"`
	Weight    []limit  `json:"blkioWeight,omitempty"`
}

type device struct {
	Type              string
	Minor, Major      uint32
	PathOnHost        string
	PathInContainer   string
	CgroupPermissions string
	Parent            string
}

type limit struct {
	Major uint32 `json:"major"`
	Minor uint32 `json:"minor"`
	Path  string `json:"path"`
	Value string `json:"value"`
}
