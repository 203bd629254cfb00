package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream/billing"
)

// checkPrices reads the price lists that upstreams name: what is wrong with one is to be
// found by config check and at a reload.
func checkPrices(of map[string]billing.Options) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(of)) {
		if _, err := of[name].Prices(); err != nil {
			errs = append(errs, fmt.Errorf("upstreams.%s.billing.price_list: %w: correct the file, or take the key out for the built-in prices", name, err))
		}
	}
	return errors.Join(errs...)
}

// openLedger opens the ledger. A start does not fail for a price list: the messages of
// the devices go and are metered, and have no prices until the file is right.
func (g *gateway) openLedger(of map[string]billing.Options) error {
	ledger, err := billing.OpenLedger(g.spool, of, func(name string, err error) {
		text := fmt.Sprintf("upstream %s has no prices: %v; its messages go and are metered: correct the file and reload the configuration, which prices them then", name, err)
		g.health.Raise(bridge.Warning{Code: priceListWarning(name), Severity: bridge.Degraded, Text: text})
		g.log.Warn(text)
	})
	g.ledger.Store(ledger)
	return err
}

func priceListWarning(upstream string) string { return "price-list-" + upstream }

// reprice reads the price lists again, at a reload, and returns what brings them into
// force: the status page and the budgets go by what ebbgate bill says.
func (g *gateway) reprice(of map[string]billing.Options) (apply func(), err error) {
	if err := checkPrices(of); err != nil {
		return nil, err
	}
	ledger, err := billing.NewLedger(g.spool, of)
	if err != nil {
		return nil, err
	}
	return func() {
		g.ledger.Store(ledger)
		for name := range of {
			g.health.Clear(priceListWarning(name))
		}
	}, nil
}
