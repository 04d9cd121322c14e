-- The funnels, counted once at publishing. Parameter: the time zone of `day`.
--
-- Days: an instant is first counted by the quarter of an hour, because every zone's offset is a whole number of them, and
-- only the quarters are turned into dates (a million conversions take a second, some thousand nothing).

CREATE TEMP TABLE counted AS
SELECT campaign, step, 'planned' AS what, epoch_us(planned_at) // 900000000 AS quarter, count(*) AS n
FROM messages GROUP BY ALL
UNION ALL
SELECT campaign, step, 'accepted', epoch_us(coalesce(accepted_at, sent_at, delivered_at, read_at)) // 900000000, count(*)
FROM messages
WHERE accepted_at IS NOT NULL OR sent_at IS NOT NULL OR delivered_at IS NOT NULL OR read_at IS NOT NULL GROUP BY ALL
UNION ALL
SELECT campaign, step, 'delivered', epoch_us(coalesce(delivered_at, read_at)) // 900000000, count(*)
FROM messages WHERE delivered_at IS NOT NULL OR read_at IS NOT NULL GROUP BY ALL
UNION ALL
SELECT campaign, step, 'read', epoch_us(read_at) // 900000000, count(*)
FROM messages WHERE read_at IS NOT NULL GROUP BY ALL
UNION ALL
SELECT campaign, step, 'failed', epoch_us(coalesce(failed_at, attempted_at, planned_at)) // 900000000, count(*)
FROM messages WHERE state = 'failed' GROUP BY ALL
UNION ALL
SELECT campaign, step, 'unknown', epoch_us(coalesce(attempted_at, planned_at)) // 900000000, count(*)
FROM messages WHERE state = 'unknown' GROUP BY ALL
UNION ALL
SELECT campaign, step, 'skipped', epoch_us(skipped_at) // 900000000, count(*)
FROM skips GROUP BY ALL
UNION ALL
SELECT campaign, NULL, 'entered', epoch_us(entered_at) // 900000000, count(*)
FROM participants WHERE state <> 'control' GROUP BY ALL
UNION ALL
-- Arrivals: everyone stands at, or left from, the last step reached; every earlier one has a move that went on from it.
SELECT campaign, step, 'arrived', NULL, count(*)
FROM participants WHERE state <> 'control' GROUP BY ALL
UNION ALL
SELECT campaign, from_step, 'arrived', NULL, count(*)
FROM participant_steps WHERE to_step <> 'end' GROUP BY ALL;

CREATE TEMP TABLE answers AS
SELECT DISTINCT campaign, step, contact_id, (replied_at AT TIME ZONE $zone)::DATE AS day
FROM replies WHERE campaign IS NOT NULL AND NOT late AND kind <> 'reaction';

CREATE TEMP TABLE days AS
SELECT quarter, (make_timestamptz(quarter * 900000000) AT TIME ZONE $zone)::DATE AS day
FROM (SELECT DISTINCT quarter FROM counted WHERE quarter IS NOT NULL);

INSERT INTO campaign_funnel BY NAME
WITH replied AS (SELECT campaign, count(DISTINCT contact_id) AS replied FROM answers GROUP BY campaign),
sums AS (
    SELECT
        campaign,
        sum(n) FILTER (what = 'entered') AS entered,
        sum(n) FILTER (what = 'planned') AS planned,
        sum(n) FILTER (what = 'skipped') AS skipped,
        sum(n) FILTER (what = 'accepted') AS accepted,
        sum(n) FILTER (what = 'delivered') AS delivered,
        sum(n) FILTER (what = 'read') AS read,
        sum(n) FILTER (what = 'failed') AS failed,
        sum(n) FILTER (what = 'unknown') AS unknown
    FROM counted GROUP BY campaign
)
SELECT
    campaign, coalesce(entered, 0) AS entered, coalesce(planned, 0) AS planned, coalesce(skipped, 0) AS skipped,
    coalesce(accepted, 0) AS accepted, coalesce(delivered, 0) AS delivered, coalesce(read, 0) AS read,
    coalesce(replied, 0) AS replied, 0 AS clicked, coalesce(failed, 0) AS failed, coalesce(unknown, 0) AS unknown
FROM sums FULL JOIN replied USING (campaign) ORDER BY campaign;

INSERT INTO step_funnel BY NAME
WITH replied AS (SELECT campaign, step, count(DISTINCT contact_id) AS replied FROM answers GROUP BY ALL),
sums AS (
    SELECT
        campaign,
        step,
        sum(n) FILTER (what = 'arrived') AS entered,
        sum(n) FILTER (what = 'planned') AS planned,
        sum(n) FILTER (what = 'skipped') AS skipped,
        sum(n) FILTER (what = 'accepted') AS accepted,
        sum(n) FILTER (what = 'delivered') AS delivered,
        sum(n) FILTER (what = 'read') AS read,
        sum(n) FILTER (what = 'failed') AS failed,
        sum(n) FILTER (what = 'unknown') AS unknown
    FROM counted WHERE step IS NOT NULL GROUP BY ALL
)
SELECT
    campaign, step, coalesce(entered, 0) AS entered, coalesce(planned, 0) AS planned, coalesce(skipped, 0) AS skipped,
    coalesce(accepted, 0) AS accepted, coalesce(delivered, 0) AS delivered, coalesce(read, 0) AS read,
    coalesce(replied, 0) AS replied, 0 AS clicked, coalesce(failed, 0) AS failed, coalesce(unknown, 0) AS unknown
FROM sums FULL JOIN replied USING (campaign, step) WHERE step IS NOT NULL ORDER BY campaign, step;

INSERT INTO campaign_daily BY NAME
WITH replied AS (SELECT campaign, day, count(DISTINCT contact_id) AS replied FROM answers GROUP BY ALL),
sums AS (
    SELECT
        campaign,
        day,
        sum(n) FILTER (what = 'entered') AS entered,
        sum(n) FILTER (what = 'planned') AS planned,
        sum(n) FILTER (what = 'skipped') AS skipped,
        sum(n) FILTER (what = 'accepted') AS accepted,
        sum(n) FILTER (what = 'delivered') AS delivered,
        sum(n) FILTER (what = 'read') AS read,
        sum(n) FILTER (what = 'failed') AS failed,
        sum(n) FILTER (what = 'unknown') AS unknown
    FROM counted JOIN days USING (quarter) GROUP BY ALL
)
SELECT
    campaign, day, coalesce(entered, 0) AS entered, coalesce(planned, 0) AS planned, coalesce(skipped, 0) AS skipped,
    coalesce(accepted, 0) AS accepted, coalesce(delivered, 0) AS delivered, coalesce(read, 0) AS read,
    coalesce(replied, 0) AS replied, 0 AS clicked, coalesce(failed, 0) AS failed, coalesce(unknown, 0) AS unknown
FROM sums FULL JOIN replied USING (campaign, day) ORDER BY campaign, day;
