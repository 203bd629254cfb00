package configs

import "embed"

// Examples are the annotated files beside this one: ebbgate.yaml with all keys
// and their defaults, one file each for AWS IoT Core, mosquitto and EMQX, one
// with routes that save, and the registry and policy that they name.
//
//go:embed *.yaml policies/*.json
var Examples embed.FS
