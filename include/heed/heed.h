// Everything public of libheed.
#pragma once

#include "heed/attention.h"
#include "heed/cpu.h"
#include "heed/format.h"
#include "heed/kv.h"
#include "heed/mechanisms.h"
#include "heed/policy.h"
#include "heed/status.h"
#include "heed/version.h"
#include "heed/view.h"
