package localbroker

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/ebbgate/ebbgate/internal/peers"
)

func TestMain(m *testing.M) {
	peers.InMemory()
	goleak.VerifyTestMain(m)
}
