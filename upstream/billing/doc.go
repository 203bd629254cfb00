// Package billing counts what crosses to and from a cloud, in the units that
// the cloud bills, and says what it costs.
//
// Its parts, each usable alone:
//
//   - Metering (units.go): pure functions from a packet to metered messages, by
//     AWS's rules (M01–M28 of the specification).
//   - The ledger (meter.go, key.go, series.go, places.go): [Meter] puts counters into the
//     very batch that releases a record, so that a crash can neither bill a
//     message twice nor forget one. One counter per hour, upstream and its place, direction,
//     device, thing, topic prefix, route and kind; devices and prefixes are bounded per hour,
//     what is above goes to "(other)", so the sum is exact whatever happens.
//   - The bill (ledger.go, parts.go, prices.go): the counters of a span, priced by a
//     [PriceList] with tiers. Money is rational arithmetic, rounded only when
//     shown, with bounds where a price or the unit is not known for certain.
//   - What could be otherwise (traffic.go, whatif.go, fleet.go, advise.go): the
//     recorded sizes, sent in other ways; and AWS's own report (reconcile.go).
//
// Two figures are never mixed: delivered units were acknowledged, or at QoS 0 something
// that was written later was (written.go); uncertain units were sent, no acknowledgement
// came, and those of QoS 1 were sent again: the cloud may have billed them, or not.
//
// Hours are UTC. An hour that an unsynchronised clock told is marked as such,
// and one that cannot be true (before this software existed) is "unknown".
package billing
