package container

import (
	"os"
	"path/filepath"
	"testing"
)

// sample is what all tests make their containers of.
func sample(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../integration/sandbox/testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	lcrID  = "3ff9041b5e1ca6d86b06fd5f95ccd23474728f5c4a9436b3101e2d572729649c"
	runcID = "592419e58e91081008ac610f9d508a690fa34e27269ed12d23b034706d66ead6"
)
