# Stands in for a database so that the starter works on a machine without a cloud: put your provider's resource in the
# place of terraform_data and keep the variables and outputs, which are the contract.
terraform {
  required_version = ">= 1.4"
}

variable "name" {
  type = string
}

variable "namespace" {
  type = string
}

variable "size" {
  type = string
  validation {
    condition     = contains(["small", "medium", "large"], var.size)
    error_message = "The size is small, medium or large."
  }
}

locals {
  storage_gib = { small = 10, medium = 50, large = 250 }[var.size]
}

resource "terraform_data" "database" {
  input = {
    host        = "${var.name}-rw.${var.namespace}.svc"
    port        = 5432
    storage_gib = local.storage_gib
  }
}

output "host" {
  value = terraform_data.database.output.host
}

output "port" {
  value = terraform_data.database.output.port
}
