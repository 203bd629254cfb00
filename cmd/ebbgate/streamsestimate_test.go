package main

import (
	"testing"

	"github.com/ebbgate/ebbgate/localbroker/delivery"
)

// Devices that go to S3 by themselves fetch all of a stream, whatever of it a gateway has
// already.
func TestS3HasNoCache(t *testing.T) {
	o := streamPrices{region: defaultRegion, getCost: "0", outCost: "0.09", devices: 10}
	e, err := o.estimate(&delivery.Plan{Stream: "fw", Size: 1 << 29, Cached: 1 << 29}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s3 := e.Ways[len(e.Ways)-1]; s3.Way != wayFromS3 || s3.USD != "0.900000" || e.Size != 1<<29 {
		t.Errorf("%+v", e)
	}
}
