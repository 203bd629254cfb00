package bridge_test

import (
	"os"
	"testing"

	"github.com/ebbgate/ebbgate/internal/peers"
)

func TestMain(m *testing.M) {
	peers.InMemory()
	os.Exit(m.Run())
}
