// Package configs reads the configuration of a gateway.
//
// [Config] puts together the Options of all packages. [Load] layers four
// sources, each over the one before: the code's defaults, one YAML file,
// environment variables such as EBBGATE_UPSTREAMS__AWS__ENDPOINT, and settings
// such as upstreams.aws.endpoint=mqtts://… of the command line. What is wrong
// is found all at once, and each [Problem] names file, line, key and remedy.
//
// A layer is a tree of maps, lists and texts, merged by koanf, beside a table
// of where each key stands (layers.go). The merged tree is decoded onto the
// defaults by reflection (decode.go), which knows units, closed lists,
// references and unknown keys from the types and tags of the Options alone; the
// JSON Schema (schema.go) and the effective file (print.go) come from the same.
// Then the packages validate their parts, and contradictions.go the whole.
//
// The annotated examples beside this file are embedded; tests hold ebbgate.yaml
// equal to the defaults.
package configs
