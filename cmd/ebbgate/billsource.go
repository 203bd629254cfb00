package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/spool"
	"github.com/ebbgate/ebbgate/upstream/billing"
	"github.com/ebbgate/ebbgate/upstream/s3"
)

// billStall bounds how long a running gateway may say nothing. All of a large ledger
// takes longer.
const billStall = time.Minute

// withLedger gives fn the ledger: that of the running gateway, or of its spool
// when there is none. Either is priced by this configuration.
func withLedger(ctx context.Context, cfg *configs.Config, fn func(*billing.Ledger) error) error {
	of := billingOf(cfg)
	for _, name := range slices.Sorted(maps.Keys(of)) {
		if _, err := of[name].Prices(); err != nil {
			return &exitError{exitInvalid, fmt.Errorf("upstream %s: %w", name, err)}
		}
	}
	source, closing, err := ledgerSource(ctx, cfg)
	if err != nil {
		return err
	}
	ledger, err := billing.NewLedger(source, of)
	if err == nil {
		if e := cfg.FileTransfer.Export; e.To == configs.ExportS3 {
			ledger.PriceStore(cmp.Or(e.S3.Link, billOfS3), storeOf(e.S3))
		}
		err = fn(ledger)
	}
	return errors.Join(err, closing())
}

func ledgerSource(ctx context.Context, cfg *configs.Config) (billing.Counters, func() error, error) {
	if address := cfg.Admin.Address; address != "" {
		err := listens(ctx, address)
		if err == nil {
			far := billing.Remote{Context: ctx, Client: http.DefaultClient, URL: "http://" + address + "/api/v1/ledger", Stall: billStall}
			return far, func() error { return nil }, nil
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, nil, fmt.Errorf("ask the gateway at %s: %w", address, err)
		}
	}
	if _, err := os.Stat(cfg.Spool.Dir); err != nil {
		return nil, nil, fmt.Errorf("no gateway answers at %s, and there is no spool: %w", cmp.Or(cfg.Admin.Address, "(no admin address)"), err)
	}
	s, err := takeSpool(cfg.Spool, spool.Deps{Log: slog.New(slog.DiscardHandler), Health: &bridge.Health{}, Command: "ebbgate bill"})
	if err != nil {
		return nil, nil, err
	}
	return s, func() error {
		var found bytes.Buffer
		if err := tellFound(&found, s); err != nil {
			return errors.Join(fmt.Errorf("%s%w", found.String(), err), s.Close())
		}
		return s.Close()
	}, nil
}

// listens tells whether somebody does.
func listens(ctx context.Context, address string) error {
	c, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return c.Close()
}

// billingOf collects how each upstream bills, its region read from the endpoint
// when it is not set.
func billingOf(cfg *configs.Config) map[string]billing.Options {
	out := map[string]billing.Options{}
	for name, u := range cfg.Upstreams {
		o := u.Billing
		o.MQTT3 = u.MQTT.Protocol == "3.1.1"
		_, o.HTTP = u.HTTPS()
		o.Region = cmp.Or(o.Region, billing.RegionOf(u.MQTT.Endpoint))
		if at, err := url.Parse(u.MQTT.Endpoint); err == nil {
			o.Endpoint = at.Host
		}
		out[name] = o
	}
	return out
}

// storeOf is where files go, as S3 bills it.
func storeOf(o s3.Options) billing.Store {
	switch {
	case o.Endpoint != "":
		return billing.Store{Why: "the store is not Amazon's (file_transfer.export.s3.endpoint)"}
	case o.Region == "":
		return billing.Store{Why: "the region of the bucket is not set (file_transfer.export.s3.region)"}
	case o.StorageClass != "" && o.StorageClass != "STANDARD":
		return billing.Store{Why: "requests of storage class " + o.StorageClass + " cost more than the list's, which are those of Standard"}
	}
	return billing.Store{Region: o.Region}
}
