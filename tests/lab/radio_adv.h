/*
 * What a played peripheral says on the air: AD structures (Core Specification Supplement Part A)
 * in the advertising packet and, for what does not fit, in the scan response. Pure.
 */
#pragma once

#include "radio_hci.h"

/* all but rssi and the duplicate filter's mark */
void adv_build(const struct sim_peripheral *peripheral,
               struct hci_advertisement *ret_advertisement);
