-- What the files that are new to this publish come to, each by itself (`filename`); the views `new_…` have their rows.
-- Funnels and costs are sums of these. Every file gives some, if only such as are in no sum (`control`, `ended`): so it is
-- known as tallied.
--
-- Days: an instant is counted by the quarter of an hour, because every zone's offset is a whole number of them. A tally
-- holds for every zone, and only quarters are turned into dates (a million conversions take a second, some thousand
-- nothing).

INSERT INTO tallies BY NAME
SELECT filename AS file, campaign, step, 'planned' AS what, epoch_us(planned_at) // 900000000 AS quarter, count(*) AS n
FROM new_messages GROUP BY ALL
UNION ALL BY NAME
SELECT
    filename AS file,
    campaign,
    step,
    'accepted' AS what,
    epoch_us(coalesce(accepted_at, sent_at, delivered_at, read_at)) // 900000000 AS quarter,
    market,
    category,
    currency,
    price_source,
    count(*) AS n,
    sum(price) AS price
FROM new_messages
WHERE accepted_at IS NOT NULL OR sent_at IS NOT NULL OR delivered_at IS NOT NULL OR read_at IS NOT NULL GROUP BY ALL
UNION ALL BY NAME
SELECT
    filename AS file,
    campaign,
    step,
    'delivered' AS what,
    epoch_us(coalesce(delivered_at, read_at)) // 900000000 AS quarter,
    count(*) AS n
FROM new_messages WHERE delivered_at IS NOT NULL OR read_at IS NOT NULL GROUP BY ALL
UNION ALL BY NAME
SELECT filename AS file, campaign, step, 'read' AS what, epoch_us(read_at) // 900000000 AS quarter, count(*) AS n
FROM new_messages WHERE read_at IS NOT NULL GROUP BY ALL
UNION ALL BY NAME
SELECT
    filename AS file,
    campaign,
    step,
    'failed' AS what,
    epoch_us(coalesce(failed_at, attempted_at, planned_at)) // 900000000 AS quarter,
    count(*) AS n
FROM new_messages WHERE state = 'failed' GROUP BY ALL
UNION ALL BY NAME
SELECT
    filename AS file,
    campaign,
    step,
    'unknown' AS what,
    epoch_us(coalesce(attempted_at, planned_at)) // 900000000 AS quarter,
    count(*) AS n
FROM new_messages WHERE state = 'unknown' GROUP BY ALL
UNION ALL BY NAME
SELECT filename AS file, campaign, step, 'skipped' AS what, epoch_us(skipped_at) // 900000000 AS quarter, count(*) AS n
FROM new_skips GROUP BY ALL
UNION ALL BY NAME
SELECT
    filename AS file,
    campaign,
    if(state <> 'control', 'entered', 'control') AS what,
    epoch_us(entered_at) // 900000000 AS quarter,
    count(*) AS n
FROM new_participants GROUP BY ALL
UNION ALL BY NAME
-- Arrivals: everyone stands at, or left from, the last step reached; every earlier one has a move that went on from it.
SELECT filename AS file, campaign, step, 'arrived' AS what, count(*) AS n
FROM new_participants WHERE state <> 'control' GROUP BY ALL
UNION ALL BY NAME
SELECT filename AS file, campaign, from_step AS step, if(to_step <> 'end', 'arrived', 'ended') AS what, count(*) AS n
FROM new_participant_steps GROUP BY ALL;
